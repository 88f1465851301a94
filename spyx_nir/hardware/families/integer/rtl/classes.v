// Counts the output's spikes of each class, 32 bits in bytes of one memory, and finds the class with most,
// the first of equals. An operation takes some clocks for each byte that it visits.
module classes #(
    parameter CLASSES = 2,
    parameter BITS = 1
) (
    input clk,
    input rst,
    input clear,  // each for a clock in which `busy` is 0
    input add,
    input find,
    input [BITS-1:0] of_class,  // of `add`
    output busy,
    output reg [BITS-1:0] best  // of the last `find`
);
    localparam [1:0] DONE = 0, CLEAR = 1, ADD = 2, FIND = 3;

    reg [1:0] mode, part;  // part: a byte, the lowest first
    reg [1:0] phase;  // 0: the best's byte is read, 1: the byte of `index`, 2: that is written
    reg [BITS-1:0] index;
    reg [7:0] beside;  // what is taken off: the best's byte; 255 with a carry adds one to a count
    reg carry;
    wire [7:0] count;
    wire [8:0] sum = count + {1'b0, ~beside} + carry;
    wire last_part = part == 3;
    wire last_class = index == CLASSES - 1;
    memory #(.BITS(8), .WORDS(4 * CLASSES), .ADDRESS_BITS(BITS + 2)) of_counts (
        .clk(clk), .write(phase == 2 && mode != FIND),
        .write_address({index, part}), .write_data(mode == CLEAR ? 8'd0 : sum[7:0]),
        .read_address({phase == 0 ? best : index, part}), .read_data(count)
    );
    assign busy = mode != DONE;

    always @(posedge clk) begin
        phase <= phase == 2 ? 0 : phase + 1'b1;
        if (phase == 1) beside <= mode == FIND ? count : 8'hff;
        if (phase == 2) begin
            part <= part + 1'b1;
            carry <= sum[8];
            if (last_part) begin
                carry <= 1'b0;
                index <= index + 1'b1;
                if (mode == FIND && sum[8]) best <= index;  // count > best's
                if (mode == ADD || last_class) mode <= DONE;
            end
        end
        if (mode == DONE) begin
            phase <= 0;
            part <= 0;
            carry <= add;
            index <= add ? of_class : 0;
            if (find) best <= 0;
            mode <= clear ? CLEAR : add ? ADD : find ? FIND : DONE;
        end
        if (rst) mode <= DONE;
    end
endmodule
