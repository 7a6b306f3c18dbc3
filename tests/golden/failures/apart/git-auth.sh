# label: git-auth|denied-by-registry
#---
git -c core.askPass=true clone $REGISTRY/status/401/shop/private.git
