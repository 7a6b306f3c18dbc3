# label: server-error
#---
pip download --retries 1 --index-url $REGISTRY/status/500/simple beta
