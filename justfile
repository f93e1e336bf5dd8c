# What people type. Each recipe runs steps of `.ci/run` or a script beside it; CI runs the same.

# List the recipes
default:
    @just --list --unsorted

# The quick checks, before a commit
check:
    .ci/run fmt lua ruff workflows version clippy

# The library's and the command line's tests; `just test conformance` runs one of them
test name="":
    cargo test --locked --all-features {{ if name == "" { "" } else { "--test " + name } }}

# The Python package's tests
test-python:
    .ci/run python mypy

# All that CI runs before a change lands
ci:
    .ci/run

# Wheels for Linux and the sdist, with their checks: `just wheels x86_64-unknown-linux-gnu` builds one
wheels *targets:
    TARGETS="{{ targets }}" .ci/run wheels

# The command line as a static binary in an archive, with manual pages and completions
binary *targets:
    TARGETS="{{ targets }}" .ci/run binary

# The container image
image:
    .ci/image build

# The documentation site, in target/site/; the blocks of its pages and its notebooks run
docs:
    .ci/run site python notebooks

# Compare each call with what Redis itself takes: saver, scale, growth, codec or http
bench name="saver":
    cargo bench --locked --all-features --bench {{ name }}

# Whether this commit can be released, with the tag vVERSION
release-check tag:
    RELEASE_TAG={{ tag }} .ci/run version package semver
