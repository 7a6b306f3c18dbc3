# label: abstain
#---
echo "scenario 7: server answers 500 Internal Server Error as expected"
echo "scenario 8: connection refused, as expected"
test "$(echo 3)" = 4
