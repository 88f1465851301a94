// A serial port: 8 bits, no parity, one stop bit. A bit takes DIVIDER clocks, 4 or more.
module uart_receive #(
    parameter DIVIDER = 104
) (
    input clk,
    input rst,
    input line,
    output reg valid,  // for one clock
    output reg [7:0] data
);
    localparam BITS = $clog2(2 * DIVIDER);
    reg [2:0] seen = 3'b111;  // the line, from another clock: the first two settle
    reg [BITS-1:0] wait_for;
    reg [3:0] left;  // bits that are still to come, the stop bit among them
    wire bit_now = seen[1];
    wire falls = seen[2] && !seen[1];

    always @(posedge clk) begin
        seen <= {seen[1:0], line};
        valid <= 1'b0;
        if (left == 0) begin
            wait_for <= DIVIDER + DIVIDER / 2 - 2;  // the middle of the first bit
            if (falls) left <= 4'd9;
        end else if (wait_for != 0) wait_for <= wait_for - 1'b1;
        else begin
            wait_for <= DIVIDER - 1;
            left <= left - 1'b1;
            if (left == 1) valid <= bit_now;  // a byte without a stop bit is none
            else data <= {bit_now, data[7:1]};
        end
        if (rst) begin
            left <= 0;
            valid <= 1'b0;
        end
    end
endmodule

module uart_send #(
    parameter DIVIDER = 104
) (
    input clk,
    input rst,
    input valid,
    output ready,
    input [7:0] data,
    output line
);
    localparam BITS = $clog2(DIVIDER);
    reg [BITS-1:0] wait_for;
    reg [9:0] bits;  // the lowest is on the line; a start bit, 8 bits, ones
    reg [3:0] left;

    assign ready = left == 0;
    assign line = bits[0];

    always @(posedge clk) begin
        wait_for <= ready || wait_for == 0 ? DIVIDER - 1 : wait_for - 1'b1;
        if (ready) begin
            if (valid) begin
                bits <= {1'b1, data, 1'b0};
                left <= 4'd10;
            end
        end else if (wait_for == 0) begin
            bits <= {1'b1, bits[9:1]};
            left <= left - 1'b1;
        end
        if (rst) begin
            bits <= 10'h3ff;
            left <= 0;
        end
    end
endmodule

// Bytes that came while the network works: 512 of them, one block RAM. A byte more is lost.
module uart_buffer (
    input clk,
    input rst,
    input in_valid,
    input [7:0] in_data,
    output reg out_valid,
    input out_ready,
    output [7:0] out_data
);
    reg [8:0] head, tail;  // the next to be taken, the next to be written
    wire [8:0] after_tail = tail + 1'b1;
    wire write = in_valid && after_tail != head;
    memory #(.BITS(8), .WORDS(512), .ADDRESS_BITS(9)) bytes (
        .clk(clk), .write(write), .write_address(tail), .write_data(in_data),
        .read_address(head), .read_data(out_data)
    );

    always @(posedge clk) begin
        if (write) tail <= after_tail;
        if (out_valid && out_ready) head <= head + 1'b1;
        out_valid <= head != tail && !(out_valid && out_ready);
        if (rst) begin
            head <= 0;
            tail <= 0;
            out_valid <= 1'b0;
        end
    end
endmodule
