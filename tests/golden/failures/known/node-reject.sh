# label: uncaught-exception
printf 'Promise.reject(new Error("order 17 has no lines"));\n' > a.js
#---
node a.js
