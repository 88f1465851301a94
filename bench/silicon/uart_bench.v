// A simulated serial port, in step with `SimulatedBridge` of pty_bridge.py. Over standard input come `B`
// and a byte, which is sent to the board, or `W`: wait 16 bits. Each is answered with `K`; before it stands
// `D` and a byte for each that came from the board.
module uart_bench;
    localparam DIVIDER = 4;
    localparam STDIN = 32'h8000_0000, STDOUT = 32'h8000_0001;

    reg clk = 0, rst = 1, rx = 1;
    wire tx, working;
    always #5 clk = !clk;
    serial #(.DIVIDER(DIVIDER)) serial (.clk(clk), .rst(rst), .rx(rx), .tx(tx), .working(working));

    task bits(input integer count);
        repeat (count * DIVIDER) @(negedge clk);
    endtask

    integer token, n, m;
    reg [7:0] sent, got;
    initial begin
        bits(4);
        rst = 0;
        bits(4);
        token = $fgetc(STDIN);
        while (token >= 0) begin
            if (token == "B") begin
                sent = $fgetc(STDIN);
                rx = 0;
                bits(1);
                for (n = 0; n < 8; n = n + 1) begin
                    rx = sent[n];
                    bits(1);
                end
                rx = 1;
                bits(1);
            end else bits(16);
            $fwrite(STDOUT, "K");
            $fflush(STDOUT);
            token = $fgetc(STDIN);
        end
        $finish;
    end

    initial begin
        @(negedge rst);
        forever begin
            @(negedge tx);
            bits(1);
            repeat (DIVIDER / 2) @(negedge clk);
            for (m = 0; m < 8; m = m + 1) begin
                got[m] = tx;
                bits(1);
            end
            if (tx !== 1) $fwrite(STDOUT, "X");
            $fwrite(STDOUT, "D%c", got);
        end
    end
endmodule
