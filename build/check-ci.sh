#!/bin/sh
# The CI files of deploy/ci, that people copy: check-ci.sh [WEIR-LOAD]
#
# Each flag that they give the load tester must be one that it has, what they change in the example
# configuration must be there to be changed, and both files must be what GitHub and GitLab read.
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
python3 -m check_jsonschema --builtin-schema vendor.github-workflows "$github"
python3 -m check_jsonschema --builtin-schema vendor.gitlab-ci "$gitlab"
