# label: certificate
#---
curl -fsS $TLS/files
