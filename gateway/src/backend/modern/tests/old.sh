# A legacy server, which ignores what it does not know.
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case $line in *\"initialize\"*)
    echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"protocolVersion\":\"2025-11-25\"}}" ;;
  esac
done
