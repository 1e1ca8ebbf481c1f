"""The baseline of a cold start: what `mirror` does before its first invocation, with boto3 and cedarpy.

It creates clients for DynamoDB, ECR and STS, loads a policy and checks it against the schema.
"""

import os
from pathlib import Path

import boto3
import cedarpy
from botocore.config import Config

CONFIG = Config(retries={"mode": "standard", "max_attempts": 4})
DYNAMODB, ECR, STS = (boto3.client(name, config=CONFIG) for name in ("dynamodb", "ecr", "sts"))
SCHEMA = Path(os.environ["SCHEMA_FILE"]).read_text()
POLICY = Path(os.environ["POLICY_FILE"]).read_text()
CHECKED = cedarpy.validate_policies(POLICY, SCHEMA)
if not CHECKED.validation_passed:
    raise ValueError(CHECKED.errors)


def handler(event, context):
    return {}
