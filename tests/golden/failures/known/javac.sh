# label: compile-error
printf 'public class A { int f() { return "x"; } }\n' > A.java
#---
javac A.java
