"""`mediator shim watch` while SecureChange's pods start again and people change files."""

from __future__ import annotations

from tests.cluster.keeper.conftest import Configure
from tests.cluster.keeper.support import DIRECTORY, SecureChange
from tests.cluster.keeper.watch import watched
from tests.support.conditions import eventually_true

_FILES = 4


def whole(pod: SecureChange) -> bool:
    """Whether the files are in the only pod."""
    running = pod.running()
    return len(running) == 1 and "securechange-shim.key" in pod.run(f"ls {DIRECTORY}")


def test_a_pod_that_is_killed_and_comes_back_empty_gets_its_files_again(
    namespace: str, configure: Configure
) -> None:
    pod = SecureChange(namespace=namespace)
    with watched(configure()) as watch:
        pod.deploy()
        watch.until("shim kept")
        assert whole(pod)
        killed = pod.kill_pod()
        watch.until("shim kept", times=2)
        eventually_true(lambda: whole(pod) and pod.running() != [killed])
        assert watch.sample("mediator_shim_pods", state="kept") == 1
        assert watch.sample("mediator_shim_files_written_total", drift="missing") == 2 * _FILES
        assert watch.sample("mediator_shim_repair_delay_seconds_count") == 2
        assert {reason for reason, _ in pod.events()} == {"ShimPutBack"}
        assert watch.stop() == 0
        assert "Traceback" not in watch.log()


def test_a_container_that_starts_again_in_the_same_pod_gets_its_files_again(
    namespace: str, configure: Configure
) -> None:
    pod = SecureChange(namespace=namespace)
    pod.deploy()
    with watched(configure()) as watch:
        watch.until("shim kept")
        (name,) = pod.running()
        assert pod.restart_container() == 1
        watch.until("shim kept", times=2)
        assert pod.running() == [name]
        assert whole(pod)


def test_what_somebody_changes_is_put_back_at_the_next_look(
    namespace: str, configure: Configure
) -> None:
    pod = SecureChange(namespace=namespace)
    pod.deploy()
    with watched(configure(check_every="1s")) as watch:
        watch.until("shim kept")
        pod.run(f"chmod 644 {DIRECTORY}/notify.sh; : >{DIRECTORY}/securechange-shim")
        watch.until("shim put back", times=2)
        assert "755" in pod.run(f"stat -c %a {DIRECTORY}/notify.sh")
        eventually_true(
            lambda: watch.sample("mediator_shim_files_written_total", drift="content") == 1
        )
        assert watch.sample("mediator_shim_files_written_total", drift="mode") == 1


def test_a_pod_that_cannot_be_kept_is_told_once_and_tried_on(
    namespace: str, configure: Configure
) -> None:
    pod = SecureChange(namespace=namespace)
    pod.deploy()
    pod.run("mv /bin/bash /bin/gone")
    with watched(configure()) as watch:
        watch.until("shim not kept")
        eventually_true(lambda: watch.sample("mediator_shim_checks_total", result="failed") > 1)
        assert watch.log().count("shim not kept") == 1
        assert watch.sample("mediator_shim_pods", state="unreachable") == 1
        pod.run("mv /bin/gone /bin/bash")
        watch.until("shim kept")
        assert (
            "ShimNotKept",
            "the container has no bash, which must be there to look into it.",
        ) in (pod.events())


def test_ready_says_whether_pods_are_watched(namespace: str, configure: Configure) -> None:
    del namespace
    with watched(configure()) as watch:
        eventually_true(lambda: watch.sample("mediator_shim_watching") == 1)
        assert watch.get("/livez") == "ok\n"
        assert watch.get("/readyz") == "watching\n"
        assert watch.stop() == 0
