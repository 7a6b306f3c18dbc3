# label: certificate
#---
pip download --retries 1 --index-url $TLS/simple beta
