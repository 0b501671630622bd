#!/bin/sh
# The rules and routes of alerts/: promtool reads and tests the rules, amtool the routes.
set -eu
cd "$(dirname "$0")/.."

promtool check rules alerts/rules/*.yaml
promtool test rules alerts/tests/*.yaml

if ! command -v amtool >/dev/null 2>&1; then
    printf 'amtool is missing\n'
    exit 77
fi
amtool check-config alerts/alertmanager.yml
# Each line: labels => the receiver that is to get an alert with them.
grep -v '^#' alerts/tests/routes.txt | grep '=>' | while IFS= read -r line; do
    labels=${line%%=>*}
    wanted=$(printf '%s' "${line#*=>}" | tr -d ' ')
    # shellcheck disable=SC2086 # a list of labels
    got=$(amtool config routes test --config.file=alerts/alertmanager.yml $labels 2>/dev/null)
    if [ "$got" != "$wanted" ]; then
        printf '%s goes to %s, not to %s\n' "$labels" "$got" "$wanted"
        exit 1
    fi
done
printf 'routes: as they should be\n'
