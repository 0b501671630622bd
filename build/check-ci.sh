#!/bin/sh
# Checks the CI templates in deploy/ci and this repository's own .github: check-ci.sh [WEIR-LOAD]
#
# Every flag that the templates pass to the load tester must exist, what they change in the example
# configuration must be in it, and every file must match the schema of the service that reads it.
set -eu
cd "$(dirname "$0")/.."
load_tester=${1:-target/debug/weir-load}
github=deploy/ci/github-actions.yml
gitlab=deploy/ci/gitlab-ci.yml
example=deploy/examples/minimal.yaml

fail() {
    printf '%s\n' "$*"
    exit 1
}

# The flags in the calls of the load tester, also by the gate, with continued lines joined.
flags_of() {
    sed -e ':join' -e '/\\$/N' -e 's/\\\n/ /' -e 'tjoin' "$1" |
        grep -E '(gate\.sh|weir-load run) ' | grep -oE -e ' --[a-z][a-z-]*' | tr -d ' ' | sort -u
}

help=$("$load_tester" run --help)
known=$(printf '%s\n' "$help" | sed -n -E 's/^ *(-[a-zA-Z], )?(--[a-z][a-z-]*).*/\2/p')
for file in deploy/ci/gate.sh "$github" "$gitlab"; do
    flags=$(flags_of "$file")
    # Fewer, and this check has lost sight of the call.
    count=$(printf '%s\n' "$flags" | wc -l)
    [ "$count" -ge 5 ] || fail "$file: a call of the load tester with $count flags"
    for flag in $flags; do
        printf '%s\n' "$known" | grep -qxF -e "$flag" || fail "$file: weir-load run has no $flag"
    done
done

for file in "$github" "$gitlab"; do
    change=$(sed -n "s/.*sed '\([^']*\)' .*/\1/p" "$file")
    [ -n "$change" ] || fail "$file: no sed that changes the example"
    if sed "$change" "$example" | cmp -s - "$example"; then
        fail "$file: nothing in $example is changed by $change"
    fi
done
printf 'flags and changes: as they should be\n'

export PYTHONPATH="$PWD/.tools/python"
if ! python3 -c 'import check_jsonschema' 2>/dev/null; then
    printf 'check-jsonschema is missing\n'
    exit 77
fi
python3 -m check_jsonschema --builtin-schema vendor.github-workflows "$github" .github/workflows/*.yml
python3 -m check_jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
python3 -m check_jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
python3 -m check_jsonschema --builtin-schema vendor.github-issue-forms \
    .github/ISSUE_TEMPLATE/bug_report.yml .github/ISSUE_TEMPLATE/feature_request.yml
python3 -m check_jsonschema --builtin-schema vendor.gitlab-ci "$gitlab"
