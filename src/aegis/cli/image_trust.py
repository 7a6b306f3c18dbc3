"""`aegis image sbom|diff|rebase|verify|key|policy`: what is in an image, and whom it can be trusted by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from aegis.cli import output
from aegis.cli.remote import client, server_options


@click.command()
@click.argument("what", default=".aegis-image", metavar="LAYOUT|REFERENCE")
@click.option("--output", "file", type=click.Path(path_type=Path), help="A file; else standard output.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document around it.")
def sbom(what: str, *, file: Path | None, as_json: bool) -> None:
    """Write the CycloneDX bill of materials of an image: its Python and Debian packages.

    \b
    Examples:
      aegis image sbom
      aegis image sbom --output sbom.json localhost:5000/shop/orders:1.2.0
    """
    from aegis.bootstrap.image_reading import sbom_of

    document = sbom_of(what)
    if file is not None:
        file.write_bytes(document)
    if as_json:
        output.document("aegis.image-sbom/1", {"file": str(file or ""), "sbom": json.loads(document)})
    elif file is None:
        output.say(document.decode())
    else:
        output.say(f"{output.state('success')}  wrote {file}")


@click.command()
@click.argument("before")
@click.argument("after", default=".aegis-image")
@click.option("--exit-code", "by_code", is_flag=True, help="Exit with 1 when they differ.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def diff(before: str, after: str, *, by_code: bool, as_json: bool) -> None:
    """Compare two images: packages, layers, size, settings, licences.

    \b
    Examples:
      aegis image diff localhost:5000/shop/orders:1.2.0
      aegis image diff --json localhost:5000/shop/orders:1.2.0 localhost:5000/shop/orders:1.3.0
    """
    from aegis.bootstrap.image_reading import diff_images

    found = diff_images(before, after)
    if as_json:
        output.document("aegis.image-diff/1", found)
    else:
        for line in difference_lines(found):
            output.say(line)
    if by_code and not found.same:
        raise SystemExit(1)


def difference_lines(found: Any) -> list[str]:
    """A comparison (`supplychain.compare`) for people."""
    if found.same:
        return ["they are the same, byte for byte"]
    grown = (found.size_after - found.size_before) / 1e6
    lines = [
        f"size {found.size_before / 1e6:.1f} → {found.size_after / 1e6:.1f} MB ({grown:+.1f} MB)",
        f"layers {found.layers_shared} shared, {found.layers_new} new: {found.fetched / 1e6:.1f} MB to fetch",
    ]
    lines += [f"+ {one}" for one in found.added]
    lines += [f"- {one}" for one in found.removed]
    lines += [f"~ {one.name} {one.before} → {one.after}" for one in found.changed]
    lines += [f"new licence: {one}" for one in found.licences_new]
    lines += [f"licence gone: {one}" for one in found.licences_gone]
    lines += [f"{one.name}: {one.before or 'none'} → {one.after or 'none'}" for one in found.settings]
    lines += [f"new finding: {one}" for one in found.findings_new]
    return lines + [f"fixed: {one}" for one in found.findings_fixed]


@click.command()
@click.argument("what", default=".aegis-image", metavar="LAYOUT|REFERENCE")
@click.option("--base", required=True, metavar="BASE", help="oci:FOLDER[:TAG], or HOST/NAME:TAG[@DIGEST].")
@click.option(
    "--output", "folder", default=".aegis-image", type=click.Path(path_type=Path), help="The layout to write."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def rebase(what: str, *, base: str, folder: Path, as_json: bool) -> None:
    """Put an image onto another base without building it again: its own layers stay as they are.

    \b
    Examples:
      aegis image rebase --base oci:base
      aegis image rebase localhost:5000/shop/orders:1.2.0 --base localhost:5000/shop/python:3.11 --output rebased
    """
    from aegis.bootstrap.image_reading import rebase_image

    report = rebase_image(what, base, folder=Path(), output=folder)
    if as_json:
        output.document("aegis.image-rebase/1", report)
    else:
        output.say(f"{output.state('success')}  {report.digest} on {report.base}, {report.layers_kept} layers kept")


@click.command()
@click.argument("reference")
@click.option("--key", type=click.Path(path_type=Path), help="The public key, in PEM form.")
@click.option("--certificate-identity", "identity", default="", help="Whom the certificate names; instead of a key.")
@click.option("--certificate-oidc-issuer", "issuer", default="", help="On whose word the certificate was given.")
@click.option("--authorities", type=click.Path(path_type=Path), help="Certificates (PEM) that may have issued it.")
@click.option("--log-key", type=click.Path(path_type=Path), help="The transparency log's public key (PEM).")
@click.option(
    "--certificate-log-key", type=click.Path(path_type=Path), help="The certificate log's; else not asked for."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def verify(reference: str, *, as_json: bool, **whom: Any) -> None:
    """Verify that an image in a registry is signed and attested, with a key or by an identity.

    \b
    Examples:
      aegis image verify --key aegis.pub localhost:5000/shop/orders:1.2.0
      aegis image verify --json --key aegis.pub localhost:5000/shop/orders:1.2.0
    """
    from aegis.bootstrap.image_reading import Whom
    from aegis.bootstrap.image_reading import verify as verified

    found = verified(reference, Whom(**whom))
    if as_json:
        output.document("aegis.image-verify/1", found)
        return
    output.say(f"{output.state('success')}  {found.digest} was signed as {found.reference}")
    for one in found.predicates:
        output.say(f"  attested: {one}")


@click.command("key")
@click.option("--output", "file", type=click.Path(path_type=Path), help="A file; else standard output.")
@server_options
def key_command(url: str, data: str, *, file: Path | None, as_json: bool) -> None:
    """Show the public key that this server signs images with.

    \b
    Examples:
      aegis image key --output aegis.pub
      aegis image key --json
    """
    with client(url, data) as server:
        found: dict[str, Any] = server.get("signing-key")
    if as_json:
        output.document("aegis.signing-key/1", found)
    elif file is None:
        output.say(found["public_key"].rstrip())
    else:
        file.write_text(found["public_key"])
        output.say(f"{output.state('success')}  wrote {file}, {found['fingerprint'][:19]}")


@click.command()
@click.option("--name", default="aegis", help="What the policies are called.")
@click.option(
    "--image", "images", multiple=True, metavar="GLOB", help="Which images; else all of this server's services."
)
@server_options
def policy(url: str, data: str, *, name: str, images: tuple[str, ...], as_json: bool) -> None:
    """Write the admission policies of a Kubernetes cluster: only what this server signed and attested may run.

    \b
    Examples:
      aegis image policy | kubectl apply -f -
      aegis image policy --image 'registry.example.org/shop/**' --json
    """
    import yaml

    from aegis.supplychain import admission
    from aegis.supplychain.options import KeylessRule

    with client(url, data) as server:
        found: dict[str, Any] = server.get("signing-key")
    rule = KeylessRule(**found["keyless"]) if found["keyless"] else None
    authority = admission.keyless_authority(rule, name) if rule else admission.key_authority(found["public_key"])
    made = admission.cluster_image_policies(name, images or found["repositories"], authority)
    if rule is not None:
        made = (admission.trust_root(name, rule), *made)
    if as_json:
        output.document("aegis.image-policy/1", {"policies": list(made)})
    else:
        output.say(yaml.safe_dump_all(made, sort_keys=False).rstrip())
