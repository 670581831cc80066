#!/bin/sh
# keep_errors.sh FILE COMMAND...: runs a compiler; when it fails, FILE has what it has said.
file=$1
shift
"$@" 2>"$file.$$"
code=$?
cat "$file.$$" >&2
if [ $code -eq 0 ]; then rm "$file.$$"; else mv "$file.$$" "$file"; fi
exit $code
