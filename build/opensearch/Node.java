// The search node of the tests: `java -cp 'JARS/*' Node.java DIRECTORY PORT`. It prints "ready" on its
// standard output, and ends when its standard input is closed, so that it never outlives its parent process.

import static org.codelibs.opensearch.runner.OpenSearchRunner.newConfigs;

import org.codelibs.opensearch.runner.OpenSearchRunner;

public class Node {
    public static void main(String[] arguments) throws Exception {
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.setMaxHttpPort(-1);
        runner.onBuild((number, settings) -> {
            settings.put("http.port", arguments[1]);
            settings.put("network.host", "127.0.0.1");
            settings.put("discovery.type", "single-node");
            // Without the last one it rejects pipelines before it looks for them.
            settings.putList("node.roles", "cluster_manager", "data", "ingest");
            settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
        }).build(newConfigs().numOfNode(1).basePath(arguments[0]).clusterName("weir-tests"));
        runner.ensureYellow();
        System.out.println("ready");
        while (System.in.read() != -1) {
            // Only the end of the input matters.
        }
        // The owner of the directory removes its data.
        Runtime.getRuntime().halt(0);
    }
}
