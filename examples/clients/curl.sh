#!/bin/sh
# Call Station as a machine, with curl: sh curl.sh [PATH [TIMES]]
#
# STATION_URL, STATION_CLIENT_ID and STATION_CLIENT_SECRET in the environment say where and who. The token is kept in a
# file that only you can read, so the next run uses it too. curl reads secrets from its standard input: `ps` shows none.
set -eu
umask 077

url=${STATION_URL:-http://127.0.0.1:3001}
renew_before=${STATION_RENEW_BEFORE:-30} # seconds that a token must still live
cache=${XDG_RUNTIME_DIR:-$HOME}/station-$STATION_CLIENT_ID.token
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# Prints the status; the headers and the body are in $answer. --retry waits for as long as Retry-After says (429, 503).
request() {
    curl --silent --show-error --retry 4 --include --output "$answer" --write-out '%{http_code}' "$@"
}

body() { tr -d '\r' <"$answer" | sed '1,/^$/d'; }

fail() {
    echo "$1 answered $2: $(body)" >&2
    exit 1
}

fetch_token() {
    now=$(date +%s)
    quoted=$(printf %s "$STATION_CLIENT_SECRET" | sed 's/[\\"]/\\&/g')
    status=$(printf 'user = "%s:%s"\n' "$STATION_CLIENT_ID" "$quoted" |
        request --config - --data grant_type=client_credentials "$url/auth/token")
    [ "$status" = 200 ] || fail /auth/token "$status"
    token=$(body | sed 's/.*"access_token": *"\([^"]*\)".*/\1/')
    expires_in=$(body | sed 's/.*"expires_in": *\([0-9]*\).*/\1/')
    echo "$((now + expires_in)) $token" >"$cache.$$"
    mv "$cache.$$" "$cache"
}

usable_token() {
    expires_at=0
    [ ! -f "$cache" ] || read -r expires_at token <"$cache"
    [ $((expires_at - $(date +%s))) -gt "$renew_before" ] || fetch_token
}

send() { status=$(printf 'header = "Authorization: Bearer %s"\n' "$token" | request --config - "$url$1"); }

# The answer of a handler; a token that is about to end is renewed, one that was revoked replaced.
call() {
    usable_token
    send "$1"
    if [ "$status" = 401 ] && grep -qi '^www-authenticate:.*invalid_token' "$answer"; then
        fetch_token
        send "$1"
    fi
    [ "$status" = 200 ] || fail "$1" "$status"
    body
    echo
}

path=${1:-/auth/client}
times=${2:-3}
while [ "$times" -gt 0 ]; do
    call "$path"
    times=$((times - 1))
done
