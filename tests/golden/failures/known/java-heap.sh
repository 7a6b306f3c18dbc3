# label: out-of-memory
printf 'import java.util.*; public class M { public static void main(String[] a) { List<long[]> l = new ArrayList<>(); while (true) l.add(new long[1000000]); } }\n' > M.java
#---
java -Xmx32m M.java
