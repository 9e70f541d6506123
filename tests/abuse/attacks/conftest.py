"""Start the chat that the attacks share."""

from collections.abc import Iterator

import pytest

from tests.support.key_set import new_key, pem
from tests.support.stack import Gateway, Stack


@pytest.fixture(scope="package")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Gateway]]:
    folder = tmp_path_factory.mktemp("attacked")
    public = folder / "public.pem"
    public.write_text(pem(new_key("RS256")))
    stack = Stack(
        folder,
        CHATWS_REQUEST_SECONDS="4", CHATWS_KEEP_ALIVE_SECONDS="4", CHATWS_WRITE_SECONDS="4",
        CHATWS_AUTH_TIMEOUT="2", CHATWS_ACCEPTS_PER_SECOND="0",
        CHATWS_ACCEPTS_PER_ADDRESS="0", CHATWS_JWT_PUBLIC_KEYS=str(public),
    )  # fmt: skip
    try:
        yield stack, stack.start()
    finally:
        stack.stop()
