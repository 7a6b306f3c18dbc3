# label: git-identity
git init -q
#---
unset GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
git -c user.useConfigOnly=true commit --allow-empty -m release
