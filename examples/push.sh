#!/bin/sh
# Pushes this machine's load once a second, as lines of `name value`.
#
#   PULSEBOARD=http://localhost:3000 TOKEN=… COUNT=10 sh examples/push.sh
#
# Without COUNT it goes on until it is ended. TOKEN is needed where the server asks for one.
set -eu

url="${PULSEBOARD:-http://127.0.0.1:3000}/push"
host="$(uname -n)"
left="${COUNT:-0}"

while :; do
    read -r one five fifteen _ </proc/loadavg
    # --fail-with-body: what was refused is said in the answer.
    printf 'shell_load{host="%s",minutes="1"} %s\nshell_load{host="%s",minutes="5"} %s\nshell_load{host="%s",minutes="15"} %s\n' \
        "$host" "$one" "$host" "$five" "$host" "$fifteen" |
        curl --silent --show-error --fail-with-body --max-time 10 \
            ${TOKEN:+--header "Authorization: Bearer $TOKEN"} \
            --data-binary @- "$url"
    echo
    if [ "$left" -gt 0 ]; then
        left=$((left - 1))
        [ "$left" -gt 0 ] || exit 0
    fi
    sleep 1
done
