"""The examples in docs/how-to/scripts work: taken from the page, they print what the page says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mediator.model.policy import Kind
from tests.acceptance.kinds.calls import ended
from tests.acceptance.kinds.pages import PAGES, scripts_of, tries_of
from tests.acceptance.kinds.pod import Pod
from tests.support.mediator import Mediator
from tests.support.securechange import SecureChange, ticket

FIRST_LINE_OF_SDK = "#!/opt/mediator/pytos2/bin/python\n"
PAGE_OF_KIND = {kind: PAGES / f"{kind}.md" for kind in Kind}
SCRIPTS = {
    name: text
    for page in sorted(PAGES.glob("*.md"))
    for name, text in scripts_of(page).items()
    if not text.startswith(FIRST_LINE_OF_SDK)
}
TRIES = {
    f"{kind}-{number}": attempt
    for kind, page in PAGE_OF_KIND.items()
    for number, attempt in enumerate(tries_of(page), start=1)
}


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_has_a_page_with_an_example_of_that_kind_and_a_way_to_try_it(kind: Kind) -> None:
    page = PAGE_OF_KIND[kind]
    (example,) = scripts_of(page)
    assert f'# kind = "{kind}"\n' in SCRIPTS[example]
    assert {attempt.script for attempt in tries_of(page)} == {example}
    assert f"[{kind}]({kind}.md)" in (PAGES / "README.md").read_text()


@pytest.mark.parametrize("name", TRIES)
async def test_an_example_answers_securechange_as_its_page_says(
    name: str, mediator: Mediator, pod: Pod
) -> None:
    attempt = TRIES[name]
    event = attempt.event or None
    shim = pod.call(Path(attempt.script).stem, *attempt.arguments, stdin=attempt.stdin, event=event)
    if f'kind = "{Kind.TRIGGER}"' in SCRIPTS[attempt.script] and event != "TEST":
        (made,) = await ended(mediator, shim)
        assert (made["stdout"], made["stderr"]) == (attempt.prints, "")
    else:
        assert (shim.returncode, shim.stdout.decode()) == (0, attempt.prints)


@pytest.mark.parametrize("kind", Kind)
def test_the_first_command_of_a_page_prints_what_the_page_says(
    kind: Kind, mediator: Mediator
) -> None:
    attempt = tries_of(PAGE_OF_KIND[kind])[0]
    made = mediator.cli(*attempt.command)
    assert (made.returncode, made.stdout) == (0, attempt.prints), made.stderr


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.interactive])
def test_the_test_button_is_content_with_each_example(kind: Kind, pod: Pod) -> None:
    (example,) = scripts_of(PAGE_OF_KIND[kind])
    # Kinds that are called with a ticket's id get a word instead of it.
    arguments = ["test"] if kind in {Kind.CONDITION, Kind.ASSIGNMENT} else []
    shim = pod.call(Path(example).stem, *arguments, stdin=b"<ticket_info/>", event="TEST")
    assert shim.returncode == 0
    assert shim.stdout


def test_the_validation_example_refuses_while_there_is_a_freeze(
    mediator: Mediator, pod: Pod
) -> None:
    freeze = mediator.scripts / "FREEZE"
    freeze.write_text("end of the year\n")
    try:
        shim = pod.call("change_freeze", stdin=b"")
    finally:
        freeze.unlink()
    assert (shim.returncode, shim.stdout) == (1, b"end of the year\n")


def test_the_pre_assignment_example_refuses_a_ticket_without_a_number(pod: Pod) -> None:
    stdin = b"<ticket_info><id>1</id><subject>Please open all</subject></ticket_info>"
    shim = pod.call("need_change_number", stdin=stdin, event="PRE_ASSIGNMENT_SCRIPT")
    assert (shim.returncode, shim.stdout) == (1, b"")
    assert shim.stderr == b"ticket 1 has no change number in its subject\n"


@pytest.fixture
def with_sdk(tmp_path: Path, sdk: Path) -> Iterator[tuple[Mediator, SecureChange]]:
    """The example of the SDK's page, its first line changed and nothing else."""
    ((name, text),) = scripts_of(PAGES / "sdk.md").items()
    assert text.startswith(FIRST_LINE_OF_SDK)
    with SecureChange() as securechange:
        settings = {"dispatch": {"env": dict(securechange.environment)}}
        mediator = Mediator(tmp_path, settings=settings)
        mediator.script(name, text.replace(FIRST_LINE_OF_SDK, f"#!{sdk}\n"))
        with mediator:
            yield mediator, securechange


async def test_the_example_of_the_sdk_works(
    with_sdk: tuple[Mediator, SecureChange], samples: Path, tmp_path: Path
) -> None:
    mediator, securechange = with_sdk
    pod = Pod.of(mediator, tmp_path / "pod")
    securechange.keep(ticket("Open request", "Business approval", "Technical design"))
    stdin = (samples / "trigger_advance.xml").read_bytes()
    shim = pod.call("comment_on_design", stdin=stdin, event="ADVANCE")
    (attempt,) = await ended(mediator, shim)
    assert attempt["stdout"] == "ticket 4711 came from Business approval\n"
    assert securechange.comments == [{"comment": {"content": "Design starts now"}}]
