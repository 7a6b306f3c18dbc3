# label: name-resolution
#---
pip download --retries 1 --index-url https://mirror.shop.invalid/simple beta
