# label: git-auth|denied-by-registry
#---
GIT_TERMINAL_PROMPT=0 git clone $REGISTRY/status/403/shop/secret.git
