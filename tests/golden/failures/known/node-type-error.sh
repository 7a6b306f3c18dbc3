# label: uncaught-exception
printf 'const a = undefined;\nconsole.log(a.price);\n' > app.js
#---
node app.js
