# label: certificate
openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -subj /CN=a -days 1 2>/dev/null
#---
openssl verify c
