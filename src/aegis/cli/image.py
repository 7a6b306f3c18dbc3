"""`aegis image`: build, push and inspect images, without a daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aegis.cli import image_base, image_trust, output

if TYPE_CHECKING:
    from aegis.bootstrap.image import PushReport


@click.group()
def image() -> None:
    """Build, push, inspect, compare and rebase images without a daemon.

    \b
    Examples:
      aegis image build
      aegis image inspect .aegis-image
    """


@image.command()
@click.argument("path", default=".", type=click.Path(path_type=Path))
@click.option("--push", is_flag=True, help="Push to --repository, or to $CI_REGISTRY_IMAGE.")
@click.option("--repository", default="", metavar="HOST/NAME", help="Where to push.")
@click.option(
    "--base", default="", metavar="BASE", help="none, oci:FOLDER[:TAG], lock:FILE, or HOST/NAME:TAG[@DIGEST]."
)
@click.option("--output", "folder", type=click.Path(path_type=Path), help="The OCI layout to write (.aegis-image).")
@click.option("--version", default="", help="The version in labels and tags; else $AEGIS_VERSION, else pyproject's.")
@click.option("--python", default="", metavar="X.Y", help="The Python version the dependencies are for.")
@click.option("--arch", default="", metavar="ARCH", help="amd64 or arm64.")
@click.option("--sbom", type=click.Path(path_type=Path), metavar="FILE", help="Write the bill of materials there, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def build(
    path: Path,
    *,
    push: bool,
    repository: str,
    base: str,
    folder: Path | None,
    version: str,
    python: str,
    arch: str,
    sbom: Path | None,
    as_json: bool,
) -> None:
    """Build the image of a Python service from its lock and source.

    \b
    Examples:
      aegis image build
      aegis image build services/orders --push --repository localhost:5000/shop/orders

    The same commit gives the same digest. Options of the project stand in [tool.aegis] of pyproject.toml.
    """
    from aegis.bootstrap.image import Wanted, build_image

    report = build_image(
        Wanted(
            path=path, output=folder, base=base, version=version, python=python, architecture=arch,
            repository=repository, push=push, sbom=sbom,
        )
    )  # fmt: skip
    if as_json:
        output.document("aegis.image/1", report)
        return
    for line in report.notes:
        output.say(f"  {line}")
    for layer in report.layers:
        cached = "  (cached)" if layer.cached else ""
        output.say(f"  layer {layer.digest[7:19]}  {_size(layer.size):>9}  {layer.comment}{cached}")
    output.say(f"{output.state('success')}  {report.digest}  {_size(report.size)} in {report.seconds:.2f} s")
    output.say(f"  tags {', '.join(report.tags)}")
    output.say(f"  at {report.path}, base {report.base}")
    if report.pushed is not None:
        _say_pushed(report.pushed)


@image.command("push")
@click.argument("layout", default=".aegis-image", type=click.Path(path_type=Path))
@click.option("--repository", default="", metavar="HOST/NAME", help="Where to push; else $CI_REGISTRY_IMAGE.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="The tags to set; else those of the build.")
@click.option("--dry-run", is_flag=True, help="Only say what would be pushed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def push_command(layout: Path, *, repository: str, tags: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Push a built image to a registry; what it has already is not sent.

    \b
    Examples:
      aegis image push
      aegis image push --repository localhost:5000/shop/orders --tag 1.2.0 .aegis-image
    """
    from aegis.bootstrap.image import push_image
    from aegis.bootstrap.image_reading import inspect_image

    found = inspect_image(str(layout))
    names = tags or found.tags
    if dry_run:
        plan = {"digest": found.digest, "tags": names, "size": found.size}
        if as_json:
            output.document("aegis.image-push-plan/1", plan)
        else:
            output.say(f"would push {found.digest} as {', '.join(names) or 'its digest'}")
        return
    report = push_image(layout, repository, names)
    if as_json:
        output.document("aegis.image-push/1", report)
    else:
        _say_pushed(report)


@image.command()
@click.argument("layouts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--repository", default="", metavar="HOST/NAME", help="Where to push; else $CI_REGISTRY_IMAGE.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="The tags to set; else those of the build.")
@click.option("--dry-run", is_flag=True, help="Only say what would be pushed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def join(layouts: tuple[Path, ...], *, repository: str, tags: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Push images of one build for several platforms as one image.

    \b
    Examples:
      aegis image join amd64 arm64
      aegis image join amd64 arm64 --repository localhost:5000/shop/orders --tag 1.2.0

    Each layout comes from `aegis image build --arch ARCH --output FOLDER`.
    """
    from aegis.bootstrap.image_platforms import join_images

    report = join_images(layouts, repository, tags, dry_run=dry_run)
    if as_json:
        output.document("aegis.image-join/1", report)
        return
    done = "would push" if dry_run else "pushed"
    output.say(f"{output.state('success')}  {done} {report.digest} to {report.repository}: {', '.join(report.tags)}")
    for one in report.images:
        output.say(f"  {one}")


@image.command()
@click.argument("what", default=".aegis-image", metavar="LAYOUT|REFERENCE")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def inspect(what: str, *, as_json: bool) -> None:
    """Show what an image is made of: layers, labels, entry point.

    \b
    Examples:
      aegis image inspect
      aegis image inspect --json localhost:5000/shop/orders:1.2.0
    """
    from aegis.bootstrap.image_reading import inspect_image

    found = inspect_image(what)
    if as_json:
        output.document("aegis.image-inspect/1", found)
        return
    output.say(f"{found.digest}  {_size(found.size)}  created {found.created}")
    output.say(f"  tags {', '.join(found.tags) or 'none'}")
    output.say(f"  runs {' '.join(found.entrypoint)}")
    for layer in found.layers:
        output.say(f"  layer {layer.digest[7:19]}  {_size(layer.size):>9}  {layer.comment}")
    for key, value in sorted(found.labels.items()):
        output.say(f"  {key}={value}")


for _command in (
    image_trust.sbom, image_trust.diff, image_trust.rebase, image_trust.verify, image_trust.key_command,
    image_trust.policy, image_base.base,
):  # fmt: skip
    image.add_command(_command)


def _say_pushed(report: PushReport) -> None:
    names = ", ".join(report.tags) or report.digest
    counts = f"{report.sent} blobs sent, {report.present} were there"
    counts += "; what it lacked of them was sent again" if report.repaired else ""
    output.say(f"{output.state('success')}  pushed to {report.repository}: {names} ({counts})")


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
