"""The pages under /docs bring along what they show."""

import re

from fastapi.testclient import TestClient


def test_the_documentation_asks_no_other_host(client: TestClient) -> None:
    page = client.get("/docs").text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert addresses
    for address in addresses:
        assert address.startswith("/"), address
        assert client.get(address).status_code == 200
    assert "//" not in re.sub(r"http://www.w3.org/\S+", "", page)
