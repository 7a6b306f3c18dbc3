"""A whole server whose blobs lie in an object store: jobs and upkeep, before and after it was killed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aegis.bootstrap.blobs import SHELF_DIRECTORY
from support.s3_server import ACCESS, BUCKET, SECRET, s3_server
from support.server import aegis, is_type, team

pytestmark = pytest.mark.real

PIPELINE = """
say:
  script: [echo kept outside > kept.txt]
  artifacts: {paths: [kept.txt]}
read:
  needs: [say]
  script: [cat kept.txt]
"""


def test_what_a_server_keeps_lies_in_the_object_store(tmp_path: Path) -> None:
    with s3_server() as store:
        variables = {
            "AEGIS_BLOBS": f"s3://{BUCKET}/team", "AEGIS_BLOBS_ENDPOINT": store.url, "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }  # fmt: skip
        with team(tmp_path / "server", variables=variables) as server:
            assert "kept outside" in server.job_log("team/tools", {".gitlab-ci.yml": PIPELINE}, "read")
            assert store.objects
            kept = {key for key in store.objects if key.startswith(("team/sha256/", "team/sha512/"))}
            assert kept
            assert [key for key in store.objects.keys() - kept if not key.startswith(f"team/{SHELF_DIRECTORY}/")] == []
            assert not list(server.data.glob("blobs/sha*/**/*")), "nothing is kept beside it"
            run = next(
                one["data"]["run"] for one in server.ledger() if is_type("dev.cdevents.pipelinerun.finished")(one)
            )
            server.kill()
            server.start()
            assert b"kept outside" in server.as_("operator").trace(run, "read")[0]
            key, data = next((key, data) for key, data in store.objects.items() if key in kept)
            store.objects[key] = bytes([data[0] ^ 1]) + data[1:]
            token = server.person("olga").token
            done = aegis("registry", "scrub", "--url", server.url, "--json", AEGIS_TOKEN=token)
            found = json.loads(done.stdout)
            assert (done.returncode, found["checked"]) == (1, len(store.objects)), done.stdout + done.stderr
            assert found["damaged"] == [f"sha256:{key.rpartition('/')[2]}"]
