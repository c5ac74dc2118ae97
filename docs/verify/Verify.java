// Is this webhook genuine? Java 17 or newer, no libraries.
//
// WEBHOOK_SECRET=whsec_… java Verify.java ID TIMESTAMP SIGNATURE < body
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.time.Instant;
import java.util.Base64;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Verify {
    // What comes before the 32 bytes of an ed25519 key.
    private static final byte[] SPKI = HexFormat.of().parseHex("302a300506032b6570032100");

    public static boolean isGenuine(String secret, String id, String timestamp, String signatures, byte[] body)
            throws GeneralSecurityException {
        byte[] signed = concat((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8), body);
        boolean fresh = timestamp.matches("\\d{1,12}")
                && Math.abs(Instant.now().getEpochSecond() - Long.parseLong(timestamp)) < 300;
        for (String one : signatures.split(" ")) {
            if (fresh && fits(secret, signed, one)) {
                return true;
            }
        }
        return false;
    }

    private static boolean fits(String secret, byte[] signed, String signature) throws GeneralSecurityException {
        if (secret.startsWith("whpk_")) {
            return signature.startsWith("v1a,") && fitsEd25519(secret, signed, signature);
        }
        byte[] key = secret.startsWith("whsec_")
                ? Base64.getDecoder().decode(secret.substring(6))
                : secret.getBytes(StandardCharsets.UTF_8);
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        String expected = "v1," + Base64.getEncoder().encodeToString(mac.doFinal(signed));
        return MessageDigest.isEqual(expected.getBytes(StandardCharsets.UTF_8), signature.getBytes(StandardCharsets.UTF_8));
    }

    private static boolean fitsEd25519(String publicKey, byte[] signed, String signature) throws GeneralSecurityException {
        byte[] der = concat(SPKI, Base64.getDecoder().decode(publicKey.substring(5)));
        PublicKey key = KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(der));
        Signature verifier = Signature.getInstance("Ed25519");
        verifier.initVerify(key);
        verifier.update(signed);
        return verifier.verify(Base64.getDecoder().decode(signature.substring(4)));
    }

    private static byte[] concat(byte[] first, byte[] second) {
        byte[] both = java.util.Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, both, first.length, second.length);
        return both;
    }

    public static void main(String[] arguments) throws Exception {
        boolean genuine = isGenuine(
                System.getenv("WEBHOOK_SECRET"), arguments[0], arguments[1], arguments[2], System.in.readAllBytes());
        System.out.println(genuine ? "genuine" : "NOT genuine");
        System.exit(genuine ? 0 : 1);
    }
}
