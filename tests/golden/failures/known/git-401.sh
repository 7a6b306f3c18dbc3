# label: git-auth
#---
GIT_TERMINAL_PROMPT=0 git clone $REGISTRY/status/401/shop/secret.git
