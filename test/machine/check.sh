#!/usr/bin/env bash
# Sourced by the checks of a boot, inside the machine.

# check WHAT COMMAND…: a line for the test that reads it.
check() {
	local what=$1 output
	shift
	if output=$("$@" 2>&1); then
		echo "ok $what"
	else
		echo "FAIL $what: $* ended with $?: ${output//$'\n'/ | }"
	fi
}

not() { ! "$@"; }

# says WORD COMMAND…: the command's output has it, however the command ends.
says() {
	local word=$1 output
	shift
	output=$("$@" 2>&1) || true
	[[ $output == *"$word"* ]] || { echo "$output"; return 1; }
}

# old_roots: the roots of former boots, each in a line; not a snapshot that status looks for losses through at this moment.
old_roots() { find /run/impermanence/top/old_roots -mindepth 1 -maxdepth 1 -name '[!.]*'; }

# empty FILE: there is nothing in it.
empty() { [ ! -s "$1" ] || { cat "$1"; return 1; }; }

show() { says "$2" systemctl show --property="$1" "$3"; }
manager() { busctl call org.impermanence1 /org/impermanence1 org.impermanence1.Manager "$@"; }
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }

# holds FILE TEXT: it does, or will soon: waits for the change.
holds() { timeout 20 grep --quiet --max-count=1 -- "$2" <(exec tail --lines=+1 --follow=name --retry "$1" 2>/dev/null); }

# well: status finds nothing wrong.
well() {
	local output
	output=$(impermanence status 2>&1)
	[[ $output == *'next boot'* && $output != *wrong* ]] || { echo "$output"; return 1; }
}

# within SECONDS COMMAND…: the command succeeds before long.
within() {
	local until=$((SECONDS + $1)) output
	shift
	while ! output=$("$@" 2>&1); do
		((SECONDS < until)) || { echo "$output"; return 1; }
	done
}
