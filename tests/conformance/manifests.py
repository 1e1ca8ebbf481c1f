"""Manifests as build tools push them. https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md"""

import hashlib
import json

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest(text):
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def image(name):
    """A distinct image for each name."""
    config = {"mediaType": CONFIG, "digest": digest(f"config of {name}"), "size": 10}
    layer = {"mediaType": LAYER, "digest": digest(f"layer of {name}"), "size": 90}
    return json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer]})


def index(*images):
    manifests = [{"mediaType": IMAGE, "digest": digest(one), "size": len(one)} for one in images]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})


def artifact(subject, kind, **annotations):
    empty = {"mediaType": EMPTY, "digest": digest("{}"), "size": 2}
    about = {"mediaType": IMAGE, "digest": digest(subject), "size": len(subject)}
    made = {"schemaVersion": 2, "mediaType": IMAGE, "artifactType": kind, "config": empty, "layers": [], "subject": about}
    return json.dumps({**made, "annotations": annotations} if annotations else made)
