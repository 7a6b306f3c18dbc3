# label: certificate
#---
curl -sS --cacert /dev/null $TLS/
