"""`aegis wheel`: build a library's wheel and sdist, and publish them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from aegis.cli import output
from aegis.cli.remote import client, server_options, told


@click.group()
def wheel() -> None:
    """Build and publish a library.

    \b
    Examples:
      aegis wheel build
      aegis wheel publish dist/*.whl
    """


@wheel.command()
@click.argument("path", default=".", type=click.Path(path_type=Path))
@click.option("--publish", is_flag=True, help="Upload to --repository-url, or to $AEGIS_UPLOAD_URL.")
@click.option("--repository-url", default="", metavar="URL", help="The upload address of a package index.")
@click.option("--version", default="", help="Build as this version, whatever pyproject.toml says.")
@click.option("--output", "folder", type=click.Path(path_type=Path), help="Where to write (dist/).")
@click.option("--allow-network", is_flag=True, help="Let the project's own build code reach the network.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def build(path: Path, *, folder: Path | None, as_json: bool, **wanted: Any) -> None:
    """Build wheel and sdist with the project's own backend, reproducibly.

    \b
    Examples:
      aegis wheel build
      aegis wheel build libraries/shared --version 1.3.0-dev.5

    Where the version is dynamic, or [tool.aegis] version = "managed", $AEGIS_VERSION is written in. What the project is built
    with is installed first, from wheels; then its own code runs without network, and sees and writes its own directories only.
    """
    from aegis.bootstrap.wheel import build_wheel

    report = build_wheel(path, output=folder, **wanted)
    if as_json:
        output.document("aegis.wheel/1", report)
        return
    for file in report.files:
        output.say(f"  {file.filename}  {file.size / 1e3:.1f} kB  {file.digest}")
    decided = "decided by the server" if report.forced else "as the project says"
    output.say(f"{output.state('success')}  {report.name} {report.version} ({decided}) in {report.seconds:.2f} s")
    if report.network != "none":
        output.say(f"{output.state('warn')}  its build code could reach the network (--allow-network)")
    if not report.shut_in:
        output.say(f"{output.state('warn')}  its build code saw this machine's files: the kernel has no Landlock")
    if report.published:
        output.say(f"{output.state('success')}  published to {report.published}")


@wheel.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--repository-url", default="", metavar="URL", help="The upload address; else $AEGIS_UPLOAD_URL.")
@click.option("--dry-run", is_flag=True, help="Only say what would be published.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def publish(files: tuple[Path, ...], *, repository_url: str, dry_run: bool, as_json: bool) -> None:
    """Publish built files to a package index. Publishing the same file again succeeds.

    \b
    Examples:
      aegis wheel publish dist/shared-1.2.0-py3-none-any.whl
      aegis wheel publish --dry-run dist/*
    """
    from aegis.bootstrap.wheel import publish_files

    names = [file.name for file in files]
    where = ""
    if not dry_run:
        where = publish_files(files, repository_url=repository_url)
    if as_json:
        output.document("aegis.wheel-publish/1", {"files": names, "index": where, "dry_run": dry_run})
    else:
        output.say(f"would publish {', '.join(names)}" if dry_run else f"published {', '.join(names)} to {where}")


@wheel.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--index", required=True, metavar="URL", help="The simple address of the index that serves it.")
@click.option("--certificate-identity", "identity", required=True, help="Whom the certificate must name.")
@click.option("--certificate-oidc-issuer", "issuer", required=True, help="On whose word it must have been given.")
@click.option(
    "--authorities", required=True, type=click.Path(path_type=Path), help="Certificates (PEM), also those between."
)
@click.option(
    "--log-key", required=True, type=click.Path(path_type=Path), help="The transparency log's public key (PEM)."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def verify(file: Path, *, index: str, as_json: bool, **whom: Any) -> None:
    """Verify who released a wheel or sdist, by the attestations that its index serves (PEP 740).

    \b
    Examples:
      aegis wheel verify tiny-1.0-py3-none-any.whl --index URL --certificate-identity ID --certificate-oidc-issuer URL \\
          --authorities roots.pem --log-key log.pem
      aegis wheel verify --json tiny-1.0.tar.gz --index URL --certificate-identity ID --certificate-oidc-issuer URL \\
          --authorities roots.pem --log-key log.pem
    """
    from aegis.bootstrap.image_reading import Whom
    from aegis.bootstrap.wheel import verify as verified

    authority = Whom(**whom).authority()
    digest = verified(file, index, authority)
    if as_json:
        output.document("aegis.wheel-verify/1", {"file": file.name, "digest": digest, "by": authority.name})
        return
    output.say(f"{output.state('success')}  {file.name} was released by {authority.name}")


@wheel.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check(files: tuple[Path, ...], *, as_json: bool) -> None:
    """Check built files before they are published: metadata, RECORD, contents. Exits with 1 when one is refused.

    \b
    Examples:
      aegis wheel check dist/*
      aegis wheel check --json dist/shared-1.2.0-py3-none-any.whl
    """
    from aegis.bootstrap.wheel import check_files

    found = check_files(files)
    wrong = [one for one in found if one.problems]
    if as_json:
        output.document("aegis.wheel-check/1", {"valid": not wrong, "files": found})
    for one in () if as_json else found:
        output.say(f"{output.state('failed' if one.problems else 'success')}  {one.filename}")
        for problem in one.problems:
            output.say(f"    {problem}")
    if wrong:
        raise SystemExit(1)


@wheel.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--project", default=".", type=click.Path(path_type=Path), help="Whose lock and commit it was built of (.)."
)
@click.option("--output", "target", type=click.Path(path_type=Path), metavar="FILE", help="Write it there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def sbom(file: Path, *, project: Path, target: Path | None, as_json: bool) -> None:
    """Print the bill of materials (CycloneDX) of a built wheel: its licence, its digest, what it needs.

    \b
    Examples:
      aegis wheel sbom dist/shared-1.2.0-py3-none-any.whl
      aegis wheel sbom dist/shared-1.2.0-py3-none-any.whl --project libraries/shared --output shared.cdx.json

    Versions and hashes of what it needs are those of the lock, where there is one.
    """
    from aegis.bootstrap.wheel import sbom_of

    document = sbom_of(file, project)
    if target is not None:
        target.write_bytes(document)
    if as_json:
        output.document("aegis.wheel-sbom/1", {"file": str(target or ""), "sbom": json.loads(document)})
    elif target is None:
        output.say(document.decode())
    else:
        output.say(f"{output.state('success')}  wrote {target}")


@wheel.command()
@click.argument("index")
@click.argument("filename")
@click.option("--reason", default="", help="Why, for those who pinned it.")
@click.option("--back", is_flag=True, help="Take a yank back.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@server_options
def yank(
    index: str, filename: str, url: str, data: str, *, reason: str, back: bool, dry_run: bool, as_json: bool
) -> None:
    """Keep installers from choosing a file of an index; who pinned it still gets it (PEP 592).

    \b
    Examples:
      aegis wheel yank shop shared-1.2.0-py3-none-any.whl --reason "loses orders"
      aegis wheel yank shop shared-1.2.0-py3-none-any.whl --back
    """
    with client(url, data) as server:
        fields = {"index": index, "filename": filename, "reason": reason, "back": back}
        told("yank-package", server.execute("yank-package", fields, dry_run=dry_run), as_json=as_json)


@wheel.command()
@click.argument("filename")
@click.option("--from", "source", required=True, metavar="INDEX", help="The index that has it.")
@click.option("--to", "target", required=True, metavar="INDEX", help="The index that gets it.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@server_options
def promote(filename: str, url: str, data: str, *, source: str, target: str, dry_run: bool, as_json: bool) -> None:
    """Let a file from one index into another, the same bytes: from staging to where others install from.

    \b
    Examples:
      aegis wheel promote shared-1.2.0-py3-none-any.whl --from staging --to shop
      aegis wheel promote shared-1.2.0-py3-none-any.whl --from staging --to shop --dry-run
    """
    with client(url, data) as server:
        fields = {"filename": filename, "source": source, "target": target}
        told("promote-package", server.execute("promote-package", fields, dry_run=dry_run), as_json=as_json)
