# label: git-push
git init -q --bare ../up.git; git clone -q ../up.git a; (cd a; git commit -q --allow-empty -m 1; git push -q origin HEAD); git clone -q ../up.git b; (cd a; git commit -q --allow-empty -m 2; git push -q origin HEAD); (cd b; git commit -q --allow-empty -m 3)
#---
cd b
git push origin HEAD
