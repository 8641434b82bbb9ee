"""A form is taken from our own pages alone."""

from __future__ import annotations

import pytest

from mediator.web.console.auth import by_https, same_origin


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        pytest.param({"Sec-Fetch-Site": "same-origin"}, True, id="the browser says so"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, False, id="a neighbour"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, False, id="a stranger"),
        pytest.param({"Sec-Fetch-Site": "none"}, False, id="typed"),
        pytest.param(
            {"Sec-Fetch-Site": "cross-site", "Origin": "http://a", "Host": "a"},
            False,
            id="the browser knows better than the Host",
        ),
        pytest.param({"Origin": "http://a:8080", "Host": "a:8080"}, True, id="same host and port"),
        pytest.param({"Origin": "http://a", "Host": "a"}, True, id="the usual port"),
        pytest.param({"Origin": "http://a", "Host": "a:80"}, True, id="the usual port spelt out"),
        pytest.param({"Origin": "http://[::1]:80", "Host": "[::1]"}, True, id="IPv6"),
        pytest.param({"Origin": "http://A.example", "Host": "a.example"}, True, id="capitals"),
        pytest.param({"Origin": "http://a:1", "Host": "a:2"}, False, id="another port"),
        pytest.param({"Origin": "http://b", "Host": "a"}, False, id="another host"),
        pytest.param({"Origin": "http://a.b", "Host": "a"}, False, id="a longer name"),
        pytest.param({"Origin": "null", "Host": "a"}, False, id="a sandbox"),
        pytest.param({"Origin": "null", "Host": ""}, False, id="a sandbox and no host"),
        pytest.param({"Origin": "http://[", "Host": "a"}, False, id="rubbish"),
        pytest.param({"Origin": "http://a", "Host": "["}, False, id="a host of rubbish"),
        pytest.param({"Host": "a"}, False, id="no browser"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_where_a_form_comes_from(headers: dict[str, str], ours: bool) -> None:
    assert same_origin(headers) is ours


@pytest.mark.parametrize(
    ("header", "secure", "https"),
    [
        pytest.param(None, True, True, id="the mediator's own TLS"),
        pytest.param(None, False, False, id="plain"),
        pytest.param("https", False, True, id="a proxy's"),
        pytest.param("https, http", False, True, id="two proxies"),
        pytest.param("http", False, False, id="a plain proxy"),
    ],
)
def test_whether_the_browser_speaks_https(
    header: str | None,
    secure: bool,
    https: bool,
) -> None:
    headers = {} if header is None else {"X-Forwarded-Proto": header}
    assert by_https(headers, secure=secure) is https
