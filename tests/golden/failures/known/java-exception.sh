# label: uncaught-exception
printf 'public class M { public static void main(String[] a) { throw new IllegalStateException("no stock"); } }\n' > M.java
#---
java M.java
