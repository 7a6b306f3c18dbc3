# label: out-of-memory
printf 'const a=[];for(;;)a.push(new Array(1e6).fill(1.5));\n' > leak.js
#---
node --max-old-space-size=40 leak.js 2>&1
