# label: git-auth|network|connection-refused|command-missing
#---
GIT_SSH_COMMAND="ssh -o StrictHostKeyChecking=yes -o BatchMode=yes" git clone ssh://git@127.0.0.1:9/shop/a.git
