"""Puts the program ECR_LINEAGE into the wheel, for the platform WHEEL_PLATFORM, such as manylinux_2_28_x86_64."""

import os

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Program(BuildHookInterface):
    def initialize(self, version, build_data):
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{os.environ['WHEEL_PLATFORM']}"
        build_data["shared_scripts"][os.environ["ECR_LINEAGE"]] = "ecr-lineage"
        for text in ("../LICENSE", "../target/THIRD-PARTY-LICENSES.txt"):
            name = os.path.basename(text)
            build_data["shared_data"][os.path.join(self.root, text)] = f"share/doc/ecr-lineage/{name}"
