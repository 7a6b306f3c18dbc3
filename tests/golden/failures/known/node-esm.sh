# label: module-missing
printf 'import x from "no-such-pkg";\n' > a.mjs
#---
node a.mjs
