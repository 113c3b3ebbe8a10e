# A server that knows no server/discover and says so.
read -r line
id=${line#*\"id\":}; id=${id%%,*}
echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"no\"}}"
cat
