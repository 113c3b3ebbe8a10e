# A server of revision 2026-07-28: answers what a line asks for by the name of its tool, under the id
# that came.
say() { printf '%s\n' "$1"; }
note() { say "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/$1\",\"params\":{$2}}"; }
key=io.modelcontextprotocol/subscriptionId
first=
cancelled=
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  token=null
  case $line in
  *progressToken*) token=${line#*\"progressToken\":}; token=${token%%\}*} ;;
  esac
  done="{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"pid\":$$,\"heard\":$token}}"
  case $line in
  *server/discover*)
    say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"supportedVersions\":[\"2026-07-28\",\"2025-11-25\"],\"pid\":$$}}" ;;
  *notifications/cancelled*) cancelled=${line#*\"requestId\":}; cancelled=${cancelled%%,*} ;;
  *subscriptions/listen*)
    first=$id
    note subscriptions/acknowledged "\"_meta\":{\"$key\":$id}" ;;
  *\"cancelled\"*) say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"cancelled\":\"$cancelled\"}}" ;;
  *\"wait\"*) note message '"data":"waiting"' ;;
  *\"first\"*) first=$id ;;
  *\"both\"*) # The later call is answered first.
    note progress "\"progressToken\":$token,\"progress\":1.50"
    say "$done"
    say "{\"jsonrpc\":\"2.0\",\"id\":$first,\"result\":{\"pid\":$$}}" ;;
  *\"ask\"*) say '{"jsonrpc":"2.0","id":"q","method":"roots/list"}'; say "$done" ;;
  *\"change\"*)
    note tools/list_changed "\"_meta\":{\"$key\":$first}"
    note tools/list_changed '"untagged":true'
    say "$done" ;;
  *\"finish\"*) say "{\"jsonrpc\":\"2.0\",\"id\":$first,\"result\":{\"_meta\":{\"$key\":$first}}}"; say "$done" ;;
  *\"give_up\"*) note cancelled "\"requestId\":$first"; say "$done" ;;
  *\"flood\"*)
    i=0
    while [ $i -lt 600 ]; do note progress "\"progressToken\":$token,\"progress\":$i"; i=$((i+1)); done ;;
  *\"crash\"*) echo 'it hurts' >&2; exit 3 ;;
  *) say "$done" ;;
  esac
done
