"""Synthesize once: the assembly of a stage, kept under ``.build`` and made anew only when its inputs change."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / ".build"
INPUTS = ("app.py", "cdk.json", "infra", "functions")
KEPT_S = 24 * 3600
# Parts of the tree that no template and no function asset depends on.
PASSED_OVER = ("infra/twin/", "infra/cli/", "__pycache__")


def assembly(stage: str = "dev") -> Path:
    """The folder of a stage's cloud assembly for the twin: the templates and the function assets of ``cdk deploy``.

    Layers are left out (the twin runs on the local packages); their asset hashes, and so the templates, are the same.
    """
    folder = BUILD / f"assembly-{stage}-{_fingerprint()[:16]}"
    if not folder.exists():
        fresh = BUILD / f"new-{stage}-{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        synthesize(fresh, {"stage": stage, "checks": False, "aws:cdk:bundling-stacks": []})
        # Another process may have made the same one in the meantime; either is as good.
        try:
            fresh.rename(folder)
        except OSError:
            shutil.rmtree(fresh)
    folder.touch()
    _forget_old(stage)
    return folder


def _forget_old(stage: str) -> None:
    """Remove assemblies that nobody has asked for in a day; a younger one may be what a running twin works on."""
    for old in BUILD.glob(f"assembly-{stage}-*"):
        if time.time() - old.stat().st_mtime > KEPT_S:
            shutil.rmtree(old, ignore_errors=True)


def synthesize(folder: Path, context: dict[str, object]) -> None:
    """Run ``app.py`` into a folder. Raises ``CalledProcessError``; what the synthesis says is passed on."""
    environment = {
        **os.environ,
        "CDK_OUTDIR": str(folder),
        "CDK_CONTEXT_JSON": json.dumps(context),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
    }
    done = subprocess.run(  # noqa: S603  our own interpreter on our own file
        [sys.executable, str(ROOT / "app.py")], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"synthesis failed:\n{done.stdout}{done.stderr}")


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(file for name in INPUTS for file in _files(ROOT / name)):
        name = path.relative_to(ROOT).as_posix()
        if not any(part in name for part in PASSED_OVER):
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def main() -> None:
    """``make synth``: into ``cdk.out``, twice, byte-equal. With ``--checks``: once, with cdk-nag."""
    checks = "--checks" in sys.argv
    folder = ROOT / "cdk.out"
    shutil.rmtree(folder, ignore_errors=True)
    for stage in ("prod", "dev"):
        synthesize(folder, {"stage": stage, "checks": checks})
    if checks:
        print("cdk-nag: no open findings in dev and prod")
        return
    with tempfile.TemporaryDirectory() as again:
        synthesize(Path(again), {"stage": "dev", "checks": False})
        for template in sorted(folder.glob("*-dev-*.template.json")):
            if template.read_bytes() != (Path(again) / template.name).read_bytes():
                raise SystemExit(f"{template.name} differs between two syntheses")
            print(f"{template.name}: {len(template.read_bytes()):,} bytes, twice the same")


if __name__ == "__main__":
    main()
