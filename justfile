# Recipes for developers and CI. `just --list` shows them; `.ci/tools` installs their tools, except Rust and Python.

set shell := ["bash", "-euo", "pipefail", "-c"]

tools := justfile_directory() / "target/tools"
export PATH := tools / "bin:" + env("PATH")

# A fixed seed, so that the random histories are the same on every machine and failures are reproducible.
export PROPTEST_RNG_SEED := env("PROPTEST_RNG_SEED", "1")
export INSTA_UPDATE := env("INSTA_UPDATE", "no")

built := justfile_directory() / "target/lambda"
artifacts := justfile_directory() / "target/artifacts"
# The profile of the tests and of the program that they run. CI chooses `histories`, so that it compiles everything once.
profile := env("TEST_PROFILE", "dev")
program := justfile_directory() / "target" / (if profile == "dev" { "debug" } else { profile }) / "ecr-lineage"
architecture := if arch() == "aarch64" { "arm64" } else { "x86_64" }

[private]
default:
    @just --list --unsorted

# Format, lints and the fast tests: run before every commit
check: format lints nextest
    cargo nextest run --workspace --profile fast

# Check the format of all Rust sources
format:
    cargo fmt --all --check

# Clippy; warnings are errors
lints:
    cargo clippy --workspace --all-targets --features tests/runtime-contract,cli/prove -- --deny warnings

# Every test, and that no snapshot file is unused
test: nextest
    mkdir -p target/snapshots && rm -f target/snapshots/used
    INSTA_SNAPSHOT_REFERENCES_FILE=$PWD/target/snapshots/used cargo nextest run --cargo-profile {{ profile }} --workspace --profile ci
    git ls-files '*.snap' | sort >target/snapshots/there
    sed "s#^$PWD/##" target/snapshots/used | sort -u >target/snapshots/used-once
    if [ -n "$(comm -23 target/snapshots/there target/snapshots/used-once | tee /dev/stderr)" ]; then exit 1; fi

# Thousands of random histories, and every call failing in every way: about 15 minutes
histories: (history "(ordering|end_to_end|mirror|watch|reconcile)" "1000")

# A number of random histories of one part, such as `just history mirror 1000`
history part cases: nextest
    PROPTEST_CASES={{ cases }} cargo nextest run --cargo-profile histories --profile ci --workspace --test scenarios -E 'test(/^{{ part }}::/)'

# Proofs about policies, by Cedar's symbolic compiler and the solver cvc5
prove: nextest
    .ci/tools cvc5
    cargo nextest run --cargo-profile {{ profile }} --workspace --features cli/prove --profile ci --test command_line -E 'test(policies::prove)'

# The simulator and moto, called with boto3 and the AWS CLI
conformance: build
    ECR_LINEAGE={{ program }} tests/conformance/run

# The API against its OpenAPI document
api: build
    .ci/tools schemathesis
    ECR_LINEAGE={{ program }} SCHEMATHESIS={{ tools }}/bin/schemathesis EXAMPLES=100 tests/api/run

# The page in Debian's Chromium
browser: build
    cargo build --quiet --profile {{ profile }} --workspace --bin query
    ECR_LINEAGE={{ program }} QUERY_FUNCTION={{ parent_directory(program) }}/query tests/browser/run

# The page's libraries are as their checksums say
libraries:
    functions/query/page/vendor/fetch --check

[private]
nextest:
    .ci/tools cargo-nextest

[private]
build:
    cargo build --quiet --profile {{ profile }} --workspace --bin ecr-lineage

# The documentation of the code
docs:
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --quiet

# Words that the product replaces by plain names: their counts may only shrink
words:
    tests/words/run

# The code from a due deletion to a done one: its functions by name, and how long they may be
path:
    tests/path/run

# Spelling in all files, by typos
spelling:
    .ci/tools typos
    typos

# Bans, licences and sources of external crates
dependencies:
    .ci/tools cargo-deny
    cargo-deny --log-level error check bans licenses sources

# The CloudFormation templates
templates:
    .ci/tools cfn-lint checkov
    # In every region that cfn-lint knows. A few at a time: its time grows fast with the regions of one run.
    {{ tools }}/environments/cfn-lint/bin/python -c 'from cfnlint.helpers import REGIONS; print(*REGIONS)' | xargs -n 6 | \
      while read -r regions; do cfn-lint --regions $regions --template infra/*.yaml </dev/null; done
    checkov --config-file infra/.checkov.yaml --file infra/*.yaml
    {{ tools }}/environments/cfn-lint/bin/python terraform/generate --check
    {{ tools }}/environments/cfn-lint/bin/python infra/deployer/generate --check

# The GitHub workflow, by actionlint; the action and the job for GitLab, by their schemas
workflows:
    .ci/tools check-jsonschema
    CHECK_JSONSCHEMA={{ tools }}/bin/check-jsonschema tests/workflows/run

# Every scenario again, with another implementation of DynamoDB
second-dynamodb: nextest
    .ci/tools ministack
    tests/second_dynamodb/run

# The files of a release in target/artifacts
release:
    .ci/release

# The command line as a wheel, installed into an empty environment, which shows the demo
wheel: build
    rm -rf target/wheel && mkdir -p target/wheel
    ECR_LINEAGE={{ program }} WHEEL_PLATFORM=linux_{{ arch() }} .ci/wheel target/wheel
    python3 -m venv target/wheel/environment
    target/wheel/environment/bin/pip install --quiet --disable-pip-version-check --no-index target/wheel/*.whl
    test -s target/wheel/environment/share/doc/ecr-lineage/THIRD-PARTY-LICENSES.txt
    env -i target/wheel/environment/bin/ecr-lineage demo >target/wheel/demo
    tail -n 5 target/wheel/demo

# The functions, policies and templates of a release in target/artifacts, to test them on this machine
functions:
    CARGO_LAMBDA_COMPILER=cargo functions/build
    infra/package {{ architecture }} {{ artifacts }}

# Every function under AWS's runtime interface emulator; needs `just functions`
runtime-contract: nextest
    .ci/tools sam
    install -m 755 {{ tools }}/environments/aws-sam-cli/lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-{{ architecture }} target/rie
    LAMBDA_RIE=$PWD/target/rie RECORD_FUNCTION={{ built }}/record/bootstrap WATCH_FUNCTION={{ built }}/watch/bootstrap \
      MIRROR_FUNCTION={{ built }}/mirror/bootstrap RECONCILE_FUNCTION={{ built }}/reconcile/bootstrap \
      ALERT_FUNCTION={{ built }}/alert/bootstrap QUERY_FUNCTION={{ built }}/query/bootstrap \
      cargo nextest run --cargo-profile {{ profile }} --workspace --profile ci --features tests/runtime-contract --test runtime_contract

# Deploy the templates to an emulator on this machine and use them; needs `just functions`
deployment: build
    ARTIFACTS={{ artifacts }} ECR_LINEAGE={{ program }} tests/deployment/run

# Calls, request units and bytes, compared with benchmarks/counts.tsv
counts *options:
    PROFILE={{ profile }} benchmarks/run counts {{ options }}

# All benchmarks, with their baselines: needs release builds, takes an hour
bench *parts:
    benchmarks/run {{ parts }}

# Break each check that keeps a replica, then all code of a deletion and of evidence; a test must fail: some hours
mutants: mutants-of-checks mutants-of-files

# Remove each check that keeps a replica, or some by name, and expect a test to fail: an hour
mutants-of-checks *names:
    tests/mutations/run {{ names }}

# Change every operator and result of the code of a deletion and of evidence, or of some files of it: some hours
mutants-of-files *files: nextest
    .ci/tools cargo-mutants
    tests/mutations/generated {{ files }}

# A few mutations of both kinds, chosen by the commit; and that all that are written down still find their lines
mutants-sample: (mutants-of-checks "--sample" "1") (mutants-of-files "--sample" "5")

# Everything that must pass before a change is merged
ci:
    .ci/run
