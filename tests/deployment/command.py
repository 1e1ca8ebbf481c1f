"""The command line, run against the deployed stacks."""

import os
import subprocess

from cloud import HUB, HUB_REGION


def run(cloud, *arguments, account=HUB, code=0, **credentials):
    """The output of the command, run through the gate with the account's own credentials, or with a principal's."""
    credentials = credentials or {"aws_access_key_id": account, "aws_secret_access_key": "secret"}
    environment = os.environ | {name.upper(): value for name, value in credentials.items()} | {"NO_COLOR": "1"}
    command = [os.environ["ECR_LINEAGE"], "--endpoint-url", cloud.gate.url, "--region", HUB_REGION, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr
