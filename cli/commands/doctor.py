"""``qkan doctor``."""

from __future__ import annotations

from typing import Any

import click


@click.command(
    short_help="Show what is installed, what runs here, and how fast.",
    epilog="""\b
Examples:
  qkan doctor
  qkan doctor --json > machine.json""",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Show what is installed, which backends run here and why the others do not, which kernels are compiled, and how
    long a training step takes.

    It takes a few seconds; once after an installation it compiles kernels of the CPU, for about 15 more. The last
    lines say what is wrong and how to mend it; the exit code is then 1.
    """
    from qkan.validation import examine

    findings = examine(lambda line: click.echo(line, err=True))
    if as_json:
        import json

        click.echo(json.dumps(findings, indent=2))
    else:
        _print(findings)
    if findings["problems"]:
        ctx.exit(1)


def _print(findings: dict[str, Any]) -> None:
    from qkan.cli.tables import print_facts, print_rows

    packages = findings["packages"]
    versions = {name: packages[name] for name in ("qkan-seq", "python")}
    versions |= {name: found["version"] or "not installed" for name, found in packages["required"].items()}
    print_facts(versions, title="Installed")
    print_facts({name: _extra(extra) for name, extra in packages["extras"].items()}, title="Extras")
    print_facts(findings["devices"], title="Devices")
    for kind, reasons in findings["backends"].items():
        facts = {name: "can run" if reason is None else reason for name, reason in reasons.items()}
        print_facts(facts, title=f"Backends of {kind}")
    print_facts(_kernels(findings["kernels"]), title="Compiled kernels, before this command ran")
    rows = [
        [name, _duration(step["ms"]), _duration(step["first_ms"]), step["device"]]
        for name, step in findings["steps"].items()
    ]
    print_rows(["forward and backward", "median", "the first", "device"], rows, title="A training step")
    for problem in findings["problems"]:
        click.echo(f"To mend: {problem}")
    if not findings["problems"]:
        click.echo("Everything that qkan needs is here.")


def _extra(extra: dict[str, Any]) -> str:
    """Return the versions of an extra's packages, and what would install those that are missing or too old."""
    here = ", ".join(f"{name} {found['version'] or 'is missing'}" for name, found in extra["packages"].items())
    return here if extra["install"] is None else f"{here}: {extra['install']}   ({extra['for']})"


def _duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    return f"{milliseconds:.3g} ms" if milliseconds < 999.5 else f"{milliseconds / 1e3:.1f} s"


def _kernels(kernels: dict[str, Any]) -> dict[str, str]:
    numba, triton = kernels["numba"], kernels["triton"]
    facts = {
        f"CPU, {kind}": "on disk" if there else "not yet: the first step compiles them, for about 15 seconds"
        for kind, there in numba["compiled"].items()
    }
    facts["CPU, folder"] = numba["folder"] or numba["problem"]
    compiled = f"{triton['compiled']} in {triton['folder']}"
    return facts | {"GPU (Triton)": "Triton is not installed" if triton["folder"] is None else compiled}
