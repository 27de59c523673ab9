"""The two layers (core, analytics): installed by pip from hashed locks, without Docker, for arm64 and Python 3.14."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import jsii
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

LOCKS = Path(__file__).resolve().parents[2] / "functions" / "layers"
CACHE = Path(__file__).resolve().parents[2] / ".build" / "layers"
PYTHON = "3.14"
# Both tags: with manylinux2014 alone pip takes years-old wheels of duckdb and numpy without a word.
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_28_aarch64")


def fingerprint(name: str) -> str:
    """Hash of a layer's content: its lock and how it is installed."""
    lock = (LOCKS / f"{name}.txt").read_bytes()
    return hashlib.sha256(lock + f"{PYTHON} {PLATFORMS}".encode()).hexdigest()


def install(name: str) -> Path:
    """The folder of a layer's packages; installed at the first call, kept under ``.build`` after it."""
    folder = CACHE / f"{name}-{fingerprint(name)[:16]}"
    if folder.exists():
        return folder
    fresh = folder.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    command += ["--target", str(fresh / "python"), "-r", str(LOCKS / f"{name}.txt")]
    subprocess.run(command, check=True)  # noqa: S603  pip on our own lock
    shutil.rmtree(fresh / "python" / "bin", ignore_errors=True)
    fresh.rename(folder)
    return folder


@jsii.implements(cdk.ILocalBundling)
class PipBundling:
    """Bundling for the CDK that copies an installed layer."""

    def __init__(self, name: str) -> None:
        self._name = name

    def try_bundle(self, output_dir: str, *_: Any, **__: Any) -> bool:
        """Fill the asset's folder. Always local: the image that the CDK also wants to know is never pulled."""
        shutil.copytree(install(self._name), output_dir, dirs_exist_ok=True)
        return True


def layer(scope: Construct, name: str) -> lambda_.LayerVersion:
    """A layer version of one of the locks."""
    code = lambda_.Code.from_asset(
        str(LOCKS),
        asset_hash_type=cdk.AssetHashType.CUSTOM,
        asset_hash=fingerprint(name),
        bundling=cdk.BundlingOptions(image=lambda_.Runtime.PYTHON_3_14.bundling_image, local=PipBundling(name)),  # type: ignore[arg-type]
    )
    return lambda_.LayerVersion(
        scope,
        f"{name.capitalize()}Layer",
        code=code,
        compatible_runtimes=[lambda_.Runtime.PYTHON_3_14],
        compatible_architectures=[lambda_.Architecture.ARM_64],
        description=f"Locked packages: {name}",
    )
