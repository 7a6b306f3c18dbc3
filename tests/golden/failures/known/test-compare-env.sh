# label: variable-missing
#---
test -n "$API_URL" || { echo "API_URL is not set"; exit 1; }
